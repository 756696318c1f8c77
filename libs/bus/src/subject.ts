/**
 * A name as one token of a NATS subject: dots, wildcards, white space and the escape itself become %HEX, so that
 * `k8s.io` cannot split into two tokens.
 */
export function subjectToken(name: string): string {
  return name.replace(/[.*>%\s]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

/** The name that {@link subjectToken} encoded. */
export function fromSubjectToken(token: string): string {
  return token.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** Where a node takes its commands: one subject for each method. */
export function commandSubject(node: string, service: string, method: string): string {
  return `flotilla.node.${subjectToken(node)}.${service}.${method}`
}

/** Where a node is told that nobody waits for a command any more. */
export function cancelSubject(node: string): string {
  return `flotilla.node.${subjectToken(node)}.cancel`
}
