"""Django middleware that says, in a comment of each statement, which request it belongs to. Copy it, and add it to
MIDDLEWARE behind the middleware of your authentication."""

from urllib.parse import quote

from django.db import connections


class RequestContextMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        context = {"endpoint": request.path, "method": request.method}
        if request.user_id is not None:
            context["user_id"] = str(request.user_id)
        # sqlcommenter's format, which the proxy reads: /*endpoint='%2Ftodos',method='POST',user_id='42'*/
        pairs = ",".join(f"{key}='{quote(value, safe='')}'" for key, value in context.items())
        comment = f" /*{pairs}*/"

        def append_comment(execute, sql, params, many, about):
            # Where there are parameters, the driver takes "%" for one of them unless it is doubled.
            sql += comment if params is None else comment.replace("%", "%%")
            return execute(sql, params, many, about)

        # Of this thread, and until the request has been answered.
        with connections["default"].execute_wrapper(append_comment):
            return self.get_response(request)
