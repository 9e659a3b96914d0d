"""Checks the package against TensorBoard (needs the tensorboard package).

python make_events.py          writes reference.tfevents with TensorBoard's own writer
python make_events.py DIR      prints the scalars that TensorBoard reads from DIR, by tag
"""
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

if len(sys.argv) > 1:
    acc = EventAccumulator(sys.argv[1])
    acc.Reload()
    for tag in acc.Tags()["scalars"]:
        print(tag, [(e.step, round(e.value, 6)) for e in acc.Scalars(tag)])
else:
    with open(pathlib.Path(__file__).with_name("reference.tfevents"), "wb") as f:
        w = RecordWriter(f)
        w.write(Event(wall_time=1.5, file_version="brain.Event:2").SerializeToString())
        for step, value in [(1, 2.5), (300, -0.125)]:
            s = Summary(value=[Summary.Value(tag="loss/train", simple_value=value), Summary.Value(tag="lr", simple_value=1)])
            w.write(Event(wall_time=2.5, step=step, summary=s).SerializeToString())
        w.flush()
