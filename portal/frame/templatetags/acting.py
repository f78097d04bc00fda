"""`{% csrf_token %}` for every template: beside the token it has the mark of `portal.frame.acting`,
so that no form can be written without it."""

from __future__ import annotations

from typing import Any

from django.template import Library
from django.template.base import Parser, Token
from django.template.context import Context
from django.template.defaulttags import CsrfTokenNode
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.frame.acting import FIELD, mark

register = Library()


class FormTokenNode(CsrfTokenNode):
    """The hidden fields of a form that is posted."""

    def render(self, context: Context) -> SafeString:
        """Django's token, and the mark where there is one."""
        token = super().render(context)
        request: Any = context.get("request")
        made = mark(request) if token and request is not None else ""
        if not made:
            return SafeString(token)
        return format_html('{}<input type="hidden" name="{}" value="{}">', token, FIELD, made)


@register.tag
def csrf_token(parser: Parser, token: Token) -> FormTokenNode:
    """`{% csrf_token %}`."""
    del parser, token
    return FormTokenNode()
