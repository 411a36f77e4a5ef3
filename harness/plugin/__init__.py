"""What a method is and where methods are found."""
