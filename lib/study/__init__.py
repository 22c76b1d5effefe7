"""One study, four sizes: profiles, run folders, stages that skip and resume, the runner."""
