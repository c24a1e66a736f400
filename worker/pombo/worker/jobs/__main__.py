"""The process that runs jobs: `python -m pombo.worker.jobs`."""

from pombo.worker.jobs.process import work

if __name__ == "__main__":
    work()
