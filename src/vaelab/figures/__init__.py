"""What a picture shows and how it is drawn: tensors in, images and figures out."""
