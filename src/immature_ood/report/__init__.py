"""The report of a study as one page: its claim first, charts to choose from, and the samples behind the scores.

Needs no torch. `page` takes `Results`, and gives HTML that needs no other file and no network.
"""

from immature_ood.report.page import page
from immature_ood.report.results import Headline, Images, Results, Settings, Tables

__all__ = ["Headline", "Images", "Results", "Settings", "Tables", "page"]
