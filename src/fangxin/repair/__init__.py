"""The loop: find, repair, prove, and the register of weaknesses."""

from fangxin.repair._find import Found, Region, find
from fangxin.repair._harden import Outcome, agent_digest, check_budget, harden, held_out, planned_asks
from fangxin.repair._measure import Errors, JudgeErrors
from fangxin.repair._plan import Plan, PlanError, Settings, make_plan
from fangxin.repair._prove import Proof, prove, size_needed
from fangxin.repair._register import Register, RegisterError, Weakness, amend
from fangxin.repair._repairs import Findings, Repair, repairs
from fangxin.repair._result import clocked, compose, register_after
from fangxin.repair._run import Run, RunError, Silent, Watcher, begin, write_json

__all__ = [
    "Errors",
    "Findings",
    "Found",
    "JudgeErrors",
    "Outcome",
    "Plan",
    "PlanError",
    "Proof",
    "Region",
    "Register",
    "RegisterError",
    "Repair",
    "Run",
    "RunError",
    "Settings",
    "Silent",
    "Watcher",
    "Weakness",
    "agent_digest",
    "amend",
    "begin",
    "check_budget",
    "clocked",
    "compose",
    "find",
    "harden",
    "held_out",
    "make_plan",
    "planned_asks",
    "prove",
    "register_after",
    "repairs",
    "size_needed",
    "write_json",
]
