//! The suite that every backend passes: each sentence of the contract once.
