import { validateHeaderName, validateHeaderValue } from 'node:http'
import { invalidArgument } from '@flotilla/rpc'

/**
 * Headers with their names in lower case, so that one given takes the place of ours.
 *
 * @throws INVALID_ARGUMENT for a name or value that is none, such as one of two lines
 */
export function headersOf(given: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(given)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (cause) {
      // The value may be a secret.
      throw invalidArgument(`invalid header ${JSON.stringify(name)}`, { cause })
    }
    headers[name.toLowerCase()] = value
  }
  return headers
}
