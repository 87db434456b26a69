"""Each verb as a function, and `learn`, which is all of them: the only place where floors meet.

In come plain values (folders, numbers, a progress callback); out come frozen reports that the
command line prints. Rooms that need torch or scikit-learn are imported by the step that uses them.
"""

from oscine.steps.evaluating import EvaluateReport, evaluate
from oscine.steps.examples import Stretch, read_example
from oscine.steps.exporting import ExportReport, export
from oscine.steps.found import SimilarEvent, SimilarReport
from oscine.steps.identifying import IndividualsReport, SameReport, individuals, same
from oscine.steps.importing import ImportReport, import_labels
from oscine.steps.joining import ClockAsked, JoinReport, join
from oscine.steps.learning import PretrainReport, plan, pretrain, take_model
from oscine.steps.listening import IndexReport, StatusReport, index, status, synth, synthetic_speed
from oscine.steps.mapping import ClusterReport, EmbedReport, cluster, embed
from oscine.steps.naming import NamedReport, name_sound_type
from oscine.steps.reporting import LearnReport, report
from oscine.steps.searching import similar
from oscine.steps.shared import Progress, is_disk_full
from oscine.steps.telling import WhichReport, which
from oscine.steps.whole import learn

__all__ = [
    "ClockAsked",
    "ClusterReport",
    "EmbedReport",
    "EvaluateReport",
    "ExportReport",
    "ImportReport",
    "IndexReport",
    "IndividualsReport",
    "JoinReport",
    "LearnReport",
    "NamedReport",
    "PretrainReport",
    "Progress",
    "SameReport",
    "SimilarEvent",
    "SimilarReport",
    "StatusReport",
    "Stretch",
    "WhichReport",
    "cluster",
    "embed",
    "evaluate",
    "export",
    "import_labels",
    "index",
    "individuals",
    "is_disk_full",
    "join",
    "learn",
    "name_sound_type",
    "plan",
    "pretrain",
    "read_example",
    "report",
    "same",
    "similar",
    "status",
    "synth",
    "synthetic_speed",
    "take_model",
    "which",
]
