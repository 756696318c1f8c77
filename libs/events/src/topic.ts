import { invalidArgument, toRpcError, validateIdentifier } from '@flotilla/rpc'

/** Checks a topic `/part[/part…]`, every part an identifier. Throws INVALID_ARGUMENT. */
export function validateTopic(topic: string): void {
  const fault = (text: string) => invalidArgument(`envelope topic ${JSON.stringify(topic)}: ${text}`)
  if (topic === '') throw fault('must not be empty')
  if (!topic.startsWith('/')) throw fault("must start with '/'")
  if (topic === '/') throw fault('must have at least one component')
  for (const component of topic.slice(1).split('/')) {
    try {
      validateIdentifier(component)
    } catch (error) {
      throw fault(`failed validation on component ${JSON.stringify(component)}: ${toRpcError(error).message}`)
    }
  }
}
