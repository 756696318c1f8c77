export { addClient, addNode, type IdentityFiles, initDirectory, revoke } from './directory.ts'
export { type ClientOptions, createAuthority, type Issued, issueClient, issueNode, type NodeOptions } from './issue.ts'
