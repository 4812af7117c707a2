"""How Celery works here whatever the broker is, each setting with its reason; `settings` takes them in.

The broker itself, and what depends on which one it is, stand there.
"""

# Tasks are wake-ups: nobody asks what one returned, and results would fill the broker's memory.
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# Having a wake-up twice changes nothing, losing one costs seconds: so it is kept until its work is done.
CELERY_TASK_ACKS_LATE = True
# Wanted by a pool of processes alone: Celery acknowledges what a killed child worked, unless told otherwise.
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "agents"
CELERY_TASK_ROUTES = {
    "transports.*": {"queue": "transports"},
    "memory.*": {"queue": "memory"},
    "plugins.*": {"queue": "plugins"},
    "agents.*": {"queue": "agents"},
}
# Whoever publishes waits for nothing (agents.wakeups has limits of its own): the dispatcher finds it.
CELERY_TASK_PUBLISH_RETRY = False
# RabbitMQ need not write a wake-up to disk before it confirms it, which can take hundreds of milliseconds.
CELERY_TASK_DEFAULT_DELIVERY_MODE = 1
# Celery's own consumer ends its worker when the broker goes away while a task is at work.
CELERY_WORKER_CONSUMER = "eliza_site.consumer:Consumer"
# A worker takes as many wake-ups as it has threads, and leaves the rest to the others.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# No task here is sent for later (delays are columns): one that is would wait in a worker's memory.
CELERY_WORKER_ETA_TASK_LIMIT = 1
# When the broker is gone, turns go on: a model's answer that was paid for is not thrown away.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# A pool of threads is shut down warmly: SIGTERM tells the turns at once (`worker_shutting_down`). A soft
# shutdown sleeps first, tells them afterwards, and then waits for every thread all the same.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 0.0
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = False
# A broker that is away is asked again for ever; meanwhile the dispatcher works what is due.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A broker that is full or read-only says so by a channel's error: a worker that ended of it would stay away.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# RabbitMQ behind a black hole is noticed in about 20 s; Celery's 120 would leave a worker deaf for minutes.
CELERY_BROKER_HEARTBEAT = 10
# What asks workers (`doctor`, Flower) and dies leaves nothing behind in the broker's memory.
CELERY_CONTROL_QUEUE_EXPIRES = 10.0
CELERY_EVENT_QUEUE_EXPIRES = 60.0
CELERY_BEAT_SCHEDULE = {"run-due-tasks": {"task": "plugins.run_due_tasks", "schedule": 5.0}}
