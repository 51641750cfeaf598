"""matinee on an AWS account: CloudFormation stacks, and what their instance does with itself."""
