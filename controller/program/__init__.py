"""Programs: generators on the clock of a run that submit plans, wait, and react to what happened.

    def decode(run: Run) -> Program:
        run.place(weights, content)                       # before time starts: not timed
        yield run.submit(prefill)                         # a Completion, when the plan has ended
        run.mark("prefill")
        for position in range(prompt, prompt + output):
            step = run.submit(forward, context=position)
            timer = run.delay(50e-3)
            ended = yield wait_any(step, timer, stop)     # whatever of these has happened, with its value
            if stop in ended:
                run.cancel(step)
                break
            token = yield run.fetch(next_token)           # None on the virtual clock: only data could say
        run.mark("decode")

**One protocol, several executors.** `run.Run` is what a program sees; `drive.drive` resumes programs when what they
wait for has happened; an executor provides the clock (`drive.Clock`). A program may not read a clock, open a socket or
draw random numbers. Decisions that depend on data use `fetch` or, where that gives None, a declared oracle.

**Waits compose.** A program yields a ticket, a delay, an event of its own or of another program, or several of them
under `wait_any` and `wait_all`, which nest. A wait for what has happened already ends at once, so a program may start
several plans, wait for whichever ends first, and come back to the others. What happens at one instant happens together:
`wait_any` returns all of it. A delay whose `wait_any` was ended by something else is dropped and takes no time.

**Cancelling.** `cancel` ends a plan now: flows stop where they are, ops that have not started never do, its
allocations are released, and buffers that it would have freed are freed, however far it had come. What it has written
stays. A wait for it ends with a completion marked as cancelled. Nodes finish what they were handed, so a live run loses
the wall time, not the device time.

**Repeating.** On an idle clock the same plan with the same sizes takes the same time, so a program that would submit it
a hundred times submits it once and yields ``run.repeat(done, 99)``: on the virtual clock the time of the others passes
and what every resource did is counted as often; a live run executes every one of them. A trace shows the first. Not for
plans that touch flash, whose wear would be counted once, nor for plans that allocate what they keep, and not across a
declared change of a link.
"""
