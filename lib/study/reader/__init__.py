"""A blind reader for a run's answers: people or a model score them and see nothing but the batch.

    python -m lib.study.reader export runs/laptop          batches to read, with rubric and template
    python -m lib.study.reader import runs/laptop FILE...  the scores, checked; tables become new
    python -m lib.study.reader reliability runs/laptop     two readers on the answers of both
    python -m lib.study.reader ship runs/laptop            the readings as data, with who read

Scores belong to a text under a prompt, not to a system, so that they outlive a change of systems
and one reading serves every comparison.
"""
