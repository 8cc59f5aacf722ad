"""The table of variants."""

_A, _D, _S, _V, _C = (f"aebench.variants.{file}" for file in (
    "autoencoder", "denoising", "sparse", "variational", "closed_form"))  # fmt: skip

VARIANTS = {
    "pca": (f"{_C}:PCA", "principal component analysis, in closed form"),
    "linear_ae": (f"{_A}:LINEAR_AE", "one affine map each way; its optimum spans PCA's"),
    "tied_ae": (f"{_A}:TIED_AE", "linear, the decoder the encoder's transpose; its optimum is PCA"),
    "ae": (f"{_A}:AE", "plain autoencoder: reconstruct through a narrow code"),
    "deep_ae": (f"{_A}:DEEP_AE", "autoencoder of many layers, 1000-500-250 by default"),
    "overcomplete_ae": (
        f"{_A}:OVERCOMPLETE_AE",
        "more units than inputs, with noise or an L1 penalty or neither",
    ),
    "wiener": (f"{_C}:WIENER", "the best linear denoiser, in closed form"),
    "denoising_ae": (f"{_D}:DENOISING_AE", "reconstruct the clean input from a noisy one"),
    "masking_denoising_ae": (f"{_D}:MASKING_DENOISING_AE", "the same, a share of the inputs set to 0"),
    "salt_pepper_denoising_ae": (f"{_D}:SALT_PEPPER_DENOISING_AE", "the same, a share of the inputs set to 0 or 1"),
    "contractive_ae": (f"{_S}:CONTRACTIVE_AE", "a code that changes little where the input changes little"),
    "sparse_threshold_ae": (f"{_S}:SPARSE_THRESHOLD_AE", "units pulled to 0 or 1 around a cut"),
    "sparse_kl_ae": (f"{_S}:SPARSE_KL_AE", "sigmoid units that are on a small share of the time"),
    "sparse_l1_ae": (f"{_S}:SPARSE_L1_AE", "rectified units whose sum is penalised"),
    "topk_ae": (f"{_S}:TOPK_AE", "only the k largest units go on to the decoder"),
    "ppca": (f"{_C}:PPCA", "probabilistic PCA at its maximum likelihood, in closed form"),
    "linear_vae": (f"{_V}:LINEAR_VAE", "linear VAE; its optimum is probabilistic PCA"),
    "vae": (f"{_V}:VAE", "variational autoencoder with a Gaussian posterior"),
    "beta_vae": (f"{_V}:BETA_VAE", "VAE whose KL term is weighted by β"),
    "energy_vae": (f"{_V}:ENERGY_VAE", "the VAE in the notes' own β, the inverse of the KL weight"),
    "gaussian_vae": (f"{_V}:GAUSSIAN_VAE", "VAE with a Gaussian decoder of fixed variance"),
    "sigma_vae": (f"{_V}:SIGMA_VAE", "VAE that learns the variance of its decoder"),
    "bernoulli_vae": (f"{_V}:BERNOULLI_VAE", "VAE with a Bernoulli decoder, for binary data"),
    "laplace_vae": (f"{_V}:LAPLACE_VAE", "VAE with a Laplace decoder"),
}
