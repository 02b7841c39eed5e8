"""How far each layer is compressed: its sensitivity, and the choice for a size."""
