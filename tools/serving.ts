import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { clientOf, connect, makeCall } from '@flotilla/rpc'

/** Whether a process answers at an address that it serves, within `patience` milliseconds. */
export async function serving(address: string, patience: number): Promise<boolean> {
  const channel = connect(address)
  try {
    const answer = await clientOf(HealthDefinition, channel).check({ service: '' }, makeCall({ timeout: patience }))
    return answer.status === 1
  } catch {
    return false
  } finally {
    channel.close()
  }
}
