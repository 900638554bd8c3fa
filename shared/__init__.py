"""What every service shares: the contracts (`events`) and the plumbing; never a rule of the business."""
