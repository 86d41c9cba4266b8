"""Engine surfaces: published times of iterations of somebody's own engine, in place of those of the device models.

With them a scheduler is compared on the engine that its authors measured it on, apart from how well a device model
knows that engine. Each surface names its source; none is fitted here.
"""
