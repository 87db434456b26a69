"""The workspace: a folder that holds what was learned from an archive, and its catalogue."""

from oscine.workspace.catalogue import Catalogue
from oscine.workspace.folder import Workspace

__all__ = ["Catalogue", "Workspace"]
