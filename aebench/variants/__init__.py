"""The table of variants."""

VARIANTS = {
    "linear_ae": ("aebench.variants.autoencoder:LINEAR_AE", "one affine map each way; its optimum spans PCA's"),
    "ae": ("aebench.variants.autoencoder:AE", "plain autoencoder: reconstruct through a narrow code"),
    "denoising_ae": ("aebench.variants.autoencoder:DENOISING_AE", "reconstruct the clean input from a noisy one"),
    "linear_vae": ("aebench.variants.variational:LINEAR_VAE", "linear VAE; its optimum is probabilistic PCA"),
    "vae": ("aebench.variants.variational:VAE", "variational autoencoder with a Gaussian posterior"),
    "beta_vae": ("aebench.variants.variational:BETA_VAE", "VAE whose KL term is weighted by β"),
}
