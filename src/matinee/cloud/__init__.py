"""matinee on an AWS account: CloudFormation stacks, made and removed, and their instance."""
