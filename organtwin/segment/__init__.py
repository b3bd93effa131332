"""Labels from grey values: operators and the recipes made of them."""
