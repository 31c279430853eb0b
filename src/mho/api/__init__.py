"""The public functions by subject: networks, accelerators, programs, chips. `import mho` names them."""
