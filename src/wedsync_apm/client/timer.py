"""How long something takes: for a block, a function, or a coroutine function."""

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
MILLISECONDS: Final = 1000.0


class Timer:
    """Records milliseconds, whether the block ends well or with an error.

    As a context manager it is for one block at a time; as a decorator each call is timed by itself.
    """

    def __init__(self, record: Callable[[float], None]) -> None:
        self._record = record
        self._started: list[float] = []

    def __enter__(self) -> "Timer":
        self._started.append(time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        self._record((time.perf_counter() - self._started.pop()) * MILLISECONDS)

    def __call__(self, function: Function) -> Function:
        """The same function, timed."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed(*arguments: Any, **more: Any) -> Any:
                with Timer(self._record):
                    return await function(*arguments, **more)

        else:

            @functools.wraps(function)
            def timed(*arguments: Any, **more: Any) -> Any:
                with Timer(self._record):
                    return function(*arguments, **more)

        return cast("Function", timed)
