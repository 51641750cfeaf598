"""The console's own pages, in the order that its navigation has them."""

from __future__ import annotations

from matinee.sagemaker.console.frame import ROOT, Entry, href

ENTRIES = (
    Entry("Overview", f"{ROOT}/"),
    Entry("Training jobs", href("training-jobs")),
    Entry("Tuning jobs", href("tuning-jobs")),
    Entry("Transform jobs", href("transform-jobs")),
    Entry("Processing jobs", href("processing-jobs")),
    Entry("Models", href("models")),
    Entry("Endpoints", href("endpoints")),
    Entry("Registry", href("registry")),
)
# What a page of somebody else may not be called.
OWN_NAMES = frozenset(
    {
        *(entry.path.removeprefix(f"{ROOT}/") for entry in ENTRIES),
        "compare",
        "lineage",
        "packages",
        "sign-in",
        "sign-out",
        "static",
    }
)
