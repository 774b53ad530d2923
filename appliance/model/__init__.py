"""The words the appliance and the manager share, as frozen dataclasses.

Read and written as JSON or YAML through msgspec, which checks every type on the way in.
"""
