"""What stands at addresses that no page has: a plain page, which costs the server nothing to keep."""

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from services.console.sign_in import STYLESHEET

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nothing is here - Basestock</title>
<link rel="stylesheet" href="{STYLESHEET}">
<link rel="icon" href="/console/icon.svg">
</head>
<body class="sign-in">
<main>
<h1><img src="/console/icon.svg" alt="" width="32" height="32"> Nothing is here</h1>
<p>No page has this address. Perhaps a part of it is missing.</p>
<p><a href="/">To the overview</a></p>
</main>
</body>
</html>
"""


async def no_page(_request: Request, _error: Exception) -> Response:
    """The page, with status 404."""
    return HTMLResponse(PAGE, status_code=404)
