"""What views are like, measured before anything is learnt from them."""
