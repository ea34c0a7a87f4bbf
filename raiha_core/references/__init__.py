"""References: an index of the user's photos, and what is retrieved from it for a composite."""

from .index import ReferenceIndex
from .manifest import fingerprint
from .reference import Reference, References
from .sheet import contact_sheet
from .verify import Verification, verify

__all__ = ["Reference", "ReferenceIndex", "References", "Verification", "contact_sheet", "fingerprint", "verify"]
