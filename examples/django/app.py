"""A to-do list with Django. Every row change carries who asked for it, and by which request: see bemi_context.py.

python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
DATABASE_URL=postgresql://... .venv/bin/gunicorn --bind 127.0.0.1:3000 --threads 10 app:application
"""

import json
import os

import dj_database_url
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import models, transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.urls import path
from django.views import View

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={
        "default": dj_database_url.config()
        | {"OPTIONS": {"pool": {"min_size": 1, "max_size": int(os.environ.get("POOL_SIZE", 10))}}}
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIDDLEWARE=["app.AuthenticationMiddleware", "bemi_context.RequestContextMiddleware"],
    ROOT_URLCONF="app",
)
django.setup()


class AuthenticationMiddleware:
    """Yours goes here: usually django.contrib.auth's, and request.user.pk."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        user = request.headers.get("X-User-Id")
        request.user_id = int(user) if user else None
        return self.get_response(request)


# From here on nothing knows of contexts.


class Todo(models.Model):
    task = models.TextField()
    done = models.BooleanField(default=False)
    author = models.IntegerField(null=True)

    class Meta:
        app_label = "todo"
        db_table = "todo"

    def as_json(self):
        return {"id": self.pk, "task": self.task, "done": self.done, "author": self.author}


class Todos(View):
    def post(self, request):
        todo = Todo.objects.create(task=json.loads(request.body)["task"], author=request.user_id)
        return JsonResponse(todo.as_json(), status=201)


class Import(View):
    def post(self, request):
        with transaction.atomic():  # all of them, or none
            todos = [
                Todo.objects.create(task=task, author=request.user_id) for task in json.loads(request.body)["tasks"]
            ]
        return JsonResponse([todo.as_json() for todo in todos], safe=False, status=201)


class OneTodo(View):
    def patch(self, request, id):
        if not Todo.objects.filter(pk=id).update(done=json.loads(request.body)["done"]):
            raise Http404
        return JsonResponse(Todo.objects.get(pk=id).as_json())

    def delete(self, request, id):
        if not Todo.objects.filter(pk=id).delete()[0]:
            raise Http404
        return HttpResponse(status=204)


urlpatterns = [
    path("todos", Todos.as_view()),
    path("todos/import", Import.as_view()),
    path("todos/<int:id>", OneTodo.as_view()),
]
application = get_wsgi_application()
