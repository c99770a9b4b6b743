"""The Python SDK's answer to BenchWorker: every hook, and nothing else."""

from gatepost import Worker, ok

HOOKS = "connect helo ehlo mail rcpt data data_headers_end received_line data_post_headers data_post queue_pre queue quit"

worker = Worker("bench-python", pool="policy")


def answer(event):
    return ok() if event.hook in ("rcpt", "queue") else None


for name in HOOKS.split():
    worker.hook(name, blocking=False)(answer)

if __name__ == "__main__":
    worker.run()
