"""The study: profiles, run folders, stages that skip and resume, and the runner.

In a notebook, whichever cell imports it first, errors of this project are sentences from then on.
"""

from lib.runtime.errors import show_sentences

show_sentences()
