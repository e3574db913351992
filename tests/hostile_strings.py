"""Strings that a page must show and never run: ways to break out of text, attributes, scripts, styles and JSON."""

from __future__ import annotations

from itertools import product

RUN = "window.pwned=1"
BEACON = "https://example.invalid/x"

PAYLOADS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'<img src="{BEACON}">',
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x>",
    f'<iframe src="javascript:{RUN}"></iframe>',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f'<a href="javascript:{RUN}">x</a>',
    f'<base href="{BEACON}">',
    f'<meta http-equiv="refresh" content="0;url={BEACON}">',
    f'<link rel="stylesheet" href="{BEACON}">',
    f"<style>body{{background:url({BEACON})}}</style>",
    f'<object data="{BEACON}"></object>',
    f'<form action="{BEACON}"><input autofocus onfocus={RUN}>',
    f"<details open ontoggle={RUN}>",
    f'<video poster="{BEACON}" onloadstart={RUN}><source onerror={RUN}></video>',
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"${{{RUN}}}",
    f"{{{{ {RUN} }}}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    f"javascript:{RUN}",
    f"\\u003cimg src=x onerror={RUN}\\u003e",
    f"&lt;img src=x onerror={RUN}&gt;",
    "\u202e<!--",
    f"]]><script>{RUN}</script>",
)
BEFORE = (
    "", '"', "'", "`", "'\"><", "</title>", "</style>", "</script>", "-->", "\\", "\u2028", "${", "<!--<script>",
    "\x7f ", '"}],"x":[{"', "</table>", "&quot;", "{{", "%0a",
)  # fmt: skip
STRINGS = tuple(dict.fromkeys(before + payload for payload, before in product(PAYLOADS, BEFORE)))[:500]
