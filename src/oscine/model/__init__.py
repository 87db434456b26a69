"""The masked model: patches, masks, transformer, autoencoder, checkpoint."""
