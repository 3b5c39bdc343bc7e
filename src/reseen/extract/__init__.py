"""Extract: pictures and captions to features: z and c, and what the diffusion model makes of them while it denoises."""

from reseen.extract.denoising import harvest
from reseen.extract.harvesting import Harvest, plan_harvest
from reseen.extract.pictures import extract, mean_conditioning, z_size

__all__ = ["Harvest", "extract", "harvest", "mean_conditioning", "plan_harvest", "z_size"]
