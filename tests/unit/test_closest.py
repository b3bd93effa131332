import numpy as np
import pyvista as pv

from organtwin.mesh.closest import closest_on_triangles, distances


def test_places_beyond_each_part_of_a_triangle():
    points = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])
    triangle = np.array([[0, 1, 2]])
    places = np.array([
        [1.0, 1, 2], [-1, -1, 0], [6, -1, 1], [-1, 7, 0], [2, -3, 0], [-2, 2, 0], [4, 4, 0],
    ])  # fmt: skip
    nearest, owner = closest_on_triangles(places, points, triangle)
    expected = [[1, 1, 0], [0, 0, 0], [4, 0, 0], [0, 4, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]]
    np.testing.assert_allclose(nearest, expected, atol=1e-14)
    assert (owner == 0).all()


def test_agrees_with_vtk_on_a_torus():
    torus = pv.ParametricTorus(ringradius=20, crosssectionradius=6, u_res=60, v_res=30)
    torus = torus.triangulate().clean()
    places = np.random.default_rng(3).uniform(-30, 30, (500, 3))
    _, nearest = torus.find_closest_cell(places, return_closest_point=True)
    expected = np.linalg.norm(places - nearest, axis=1)
    found = distances(places, torus.points.astype(float), torus.regular_faces)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_flat_triangles_count_as_lines():
    points = np.array([[0.0, 0, 0], [2, 0, 0], [4, 0, 0]])
    assert distances(np.array([[3.0, 1, 0]]), points, np.array([[0, 1, 2]]))[0] == 1.0


def test_slender_triangles_of_a_cylinder_are_found_from_places_on_it():
    rod = pv.Cylinder(radius=5, height=60, resolution=48, direction=(0, 0, 1)).triangulate().clean()
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    places = np.array([[*(5 * rod_side), z] for z in (-25.0, -7.0, 0.0, 18.0)
                       for rod_side in np.column_stack([np.cos(t), np.sin(t)])])  # fmt: skip
    found = distances(places, rod.points.astype(float), rod.regular_faces)
    assert found.max() < 5 * (1 - np.cos(np.pi / 48)) + 1e-5
