# One image for every process of the Procfile; compose.yaml shows how they run together.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY . .
RUN SECRET_KEY=only-for-this-step python manage.py collectstatic --noinput \
    && useradd --system --no-create-home eliza
USER eliza

EXPOSE 8000
# The process' name in the Procfile: `docker run IMAGE worker` runs a worker.
ENTRYPOINT ["sh", "-c", "eval \"$(sed -n \"s/^$0: //p\" Procfile)\""]
CMD ["web"]
