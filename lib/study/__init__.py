"""The study: profiles, run folders, stages that skip and resume, and the runner."""
