"""What a sparse run needs beside its operations: where reused values lie, and which positions are active."""
