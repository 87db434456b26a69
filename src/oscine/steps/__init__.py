"""Each verb as a function, and `learn`, which is all of them: the only place where floors meet.

In come plain values (folders, numbers, a progress callback); out come frozen reports that the
command line prints. Rooms that need torch or scikit-learn are imported by the step that uses them.
"""

from oscine.steps.editing import (
    EditReport,
    HistoryReport,
    edit_history,
    merge_sound_types,
    name_sound_type,
    split_sound_type,
    undo_edit,
)
from oscine.steps.evaluating import EvaluateReport, evaluate
from oscine.steps.examples import Stretch, read_example
from oscine.steps.exploring import ExploreReport, explore
from oscine.steps.exporting import ExportReport, export
from oscine.steps.found import SimilarEvent, SimilarReport
from oscine.steps.identifying import IndividualsReport, SameReport, individuals, same
from oscine.steps.importing import ImportReport, import_labels
from oscine.steps.joining import ClockAsked, JoinReport, join
from oscine.steps.learning import PretrainReport, plan, pretrain, take_model
from oscine.steps.listening import IndexReport, StatusReport, index, status, synth, synthetic_speed
from oscine.steps.mapping import EmbedReport, cluster, embed
from oscine.steps.naming import ClusterReport
from oscine.steps.reporting import LearnReport, report
from oscine.steps.searching import similar
from oscine.steps.shared import Progress, is_disk_full
from oscine.steps.telling import WhichReport, which
from oscine.steps.whole import learn

__all__ = [
    "ClockAsked",
    "ClusterReport",
    "EditReport",
    "EmbedReport",
    "EvaluateReport",
    "ExploreReport",
    "ExportReport",
    "HistoryReport",
    "ImportReport",
    "IndexReport",
    "IndividualsReport",
    "JoinReport",
    "LearnReport",
    "PretrainReport",
    "Progress",
    "SameReport",
    "SimilarEvent",
    "SimilarReport",
    "StatusReport",
    "Stretch",
    "WhichReport",
    "cluster",
    "edit_history",
    "embed",
    "evaluate",
    "explore",
    "export",
    "import_labels",
    "index",
    "individuals",
    "is_disk_full",
    "join",
    "learn",
    "merge_sound_types",
    "name_sound_type",
    "plan",
    "pretrain",
    "read_example",
    "report",
    "same",
    "similar",
    "split_sound_type",
    "status",
    "synth",
    "synthetic_speed",
    "take_model",
    "undo_edit",
    "which",
]
