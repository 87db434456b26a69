"""A workspace whose recordings, events and sound types are set by hand, without any learning."""

import numpy as np
import soundfile

from oscine.sound.audio import content_hash
from oscine.workspace import Workspace
from oscine.workspace.catalogue import EventRow, RecordingRow, SoundTypeRow, Stage

GROUPING = "a grouping"


class Handmade:
    """Gathers recordings and events, then writes the catalogue of a workspace.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    archive : Path
    """

    def __init__(self, folder, archive):
        self.folder, self.archive = folder, archive
        self.recordings, self.events, self.types, self.names = [], [], [], {}

    def recording(self, path, samples, rate_hz, *, channel=-1, subtype="PCM_16", **changes):
        """Write samples [shape=(S,) or (S, C)] as a file, and note one of its channels."""
        file = self.archive / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, samples, rate_hz, subtype=subtype)
        status = file.stat()
        row = dict(
            recording_id=len(self.recordings) + 1,
            root=str(self.archive),
            path=path,
            channel=channel,
            n_bytes=status.st_size,
            modified_s=status.st_mtime,
            content_hash=content_hash(file),
            state="whole",
            reason="",
            encoding=f"WAV {subtype}",
            sample_rate_hz=rate_hz,
            n_channels=1 if np.ndim(samples) == 1 else np.shape(samples)[1],
            n_samples=len(samples),
            n_promised=len(samples),
            n_valid_bands=128,
            tape_row=100 * len(self.recordings),
            n_frames=100,
        )
        self.recordings.append(RecordingRow(**(row | changes)))
        return self.recordings[-1]

    def event(self, recording, start, stop, low_hz=1000.0, high_hz=2500.0, cluster=-1):
        """Note an event, in samples of its recording; a cluster of None is that of a new event."""
        event = EventRow(
            event_id=len(self.events) + 1,
            recording_id=recording.recording_id,
            start_frame=0,
            stop_frame=1,
            start_sample=start,
            stop_sample=stop,
            low_hz=low_hz,
            high_hz=high_hz,
            level_db=12.25,
        )
        self.events.append(event)
        if cluster is not None:
            place = {"map_x": float(event.event_id), "map_y": -0.5, "strength": 0.75}
            self.types.append(SoundTypeRow(event_id=event.event_id, cluster=cluster, **place))
        return event

    def write(self):
        """Write the catalogue; give the folder of the workspace."""
        n_types = 1 + max((one.cluster for one in self.types), default=-1)
        members = [[one.event_id for one in self.types if one.cluster == n] for n in range(n_types)]
        report = {
            "events": len(self.types),
            "clusters": n_types,
            "sizes": [len(each) for each in members],
            "noise_share": 0.0,
            "notes": [],
        }
        facts = {"report": report, "exemplars": [each[-2:] for each in members]}
        named = facts | {"numbers": list(range(n_types)), "names": self.names, "fits": {}}
        with Workspace(self.folder, create=True).catalogue() as catalogue:
            catalogue.add(self.recordings, self.events, [])
            catalogue.set_stage("index", Stage(fingerprint="i", finished=True, facts={}))
            found, types = (
                Stage(fingerprint=GROUPING, finished=True, facts=one) for one in (facts, named)
            )
            catalogue.set_sound_types(self.types, found, types=types)
        return self.folder


def noise(n_samples, n_channels=1, seed=0):
    """Return samples that a file of 16 bits holds exactly [shape=(S,) or (S, C)]."""
    shape = n_samples if n_channels == 1 else (n_samples, n_channels)
    codes = np.random.default_rng(seed).integers(-(2**15), 2**15, shape)
    return codes.astype(np.int16)
