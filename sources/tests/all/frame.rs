//! What the frame around sources promises, whatever their kind.
