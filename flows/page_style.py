"""How the status page looks: its colours by light and dark, its charts by the width of the screen."""

from __future__ import annotations

from typing import Final

from flows.charts import LIGHT, STYLE

_DARK: Final = (
    ".good{--t:#66bb6a}.warn{--t:#ffb74d}.ask{--t:#64b5f6}.calm{--t:#90a4ae}.bad{--t:#ef7674}.other{--t:#b39ddb}"
    ".faint{--t:#546e7a}"
)
PAGE_STYLE: Final = (
    f":root{{--bg:#f6f7f8;--card:#fff;--rule:#d9dee2;--dim:#5a6670;--code:#eef1f3;{LIGHT}}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);font:16px/1.45 system-ui,sans-serif}"
    "main{max-width:60rem;margin:0 auto;padding:1rem}h1{font-size:1.5rem;margin:.5rem 0}"
    "h2{font-size:1.15rem;margin:0 0 .5rem}p{margin:.4rem 0}header p{overflow-wrap:anywhere}.dim{color:var(--dim)}"
    "section{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:1rem;margin:1rem 0}"
    ".card,.needs{border-left:.4rem solid var(--t,var(--rule))}.lead{font-size:1.1rem}.sign{font-weight:700}"
    ".completed{--t:#2e7d32}.degraded{--t:#b26a00}.waiting,.needs{--t:#1565c0}.failed,.stopped{--t:#c62828}"
    "ul,ol{padding-left:1.2rem;margin:.4rem 0}li{margin:.4rem 0;overflow-wrap:anywhere}"
    "code{background:var(--code);border-radius:.2rem;padding:.1rem .3rem;font:.9em ui-monospace,monospace;"
    "overflow-wrap:anywhere}figure{margin:.8rem 0}figure svg{display:block;width:100%;height:auto}"
    "figcaption{color:var(--dim);font-size:.875rem}.narrow{display:none}"
    "summary{cursor:pointer;padding:.4rem 0}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--rule);white-space:nowrap;"
    "font-weight:400}thead th{font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}"
    f"{STYLE}"
    "@media(max-width:40rem){.wide{display:none}.narrow{display:block}main{padding:.5rem}section{padding:.75rem}}"
    "@media(prefers-color-scheme:dark){:root{--bg:#15181b;--card:#1e2327;--rule:#3a4349;--dim:#a3afb8;--code:#2b3238;"
    f"--over:#1e2327;color:#e6e9eb}}{_DARK}}}"
    "@media print{section{break-inside:avoid}}"
)
