"""The names that a source file has taken: what it imports and defines, Python's own, and those of base classes."""

from __future__ import annotations

import ast
import builtins
import keyword
from collections.abc import Container

PYTHON = frozenset((*keyword.kwlist, *dir(builtins)))
# Of functions and classes of a network, and of its training: arguments, and variables outside of functions.
VARIABLES = frozenset("x self F rngs name inputs i images labels".split())
# What the base classes of the frameworks have: a layer of such a name would replace it. One set serves all frameworks,
# so that a layer has one name in all.
ATTRIBUTES = frozenset(
    "T_destination add add_module append apply bfloat16 buffers call_super_init cast children collect_params compile "
    "cpu cuda deterministic double dump_patches eval export extend extra_repr float forward get_buffer get_extra_state "
    "get_parameter get_submodule half hybrid_forward hybridize infer_shape infer_type initialize insert ipu "
    "iter_children iter_modules layers load load_parameters load_params load_state_dict modules mtia name name_scope "
    "named_buffers named_children named_modules named_parameters optimize_for parameters params perturb pop prefix "
    "register_backward_hook register_buffer register_child register_forward_hook register_forward_pre_hook "
    "register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook "
    "register_load_state_dict_pre_hook register_module register_op_hook register_parameter "
    "register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ save save_parameters save_params "
    "set_attributes set_extra_state set_submodule share_memory sow state_dict summary to to_empty train training type "
    "xpu zero_grad".split()
)


def bound(*texts: str) -> frozenset[str]:
    """The names that source texts bind outside of functions and classes, by imports and definitions."""
    found: set[str] = set()
    for node in ast.parse("\n".join(texts)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {each.asname or each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
    return frozenset(found)


def free(name: str, taken: Container[str]) -> str:
    """The name, with underscores behind it while it is taken."""
    while name in taken:
        name += "_"
    return name
