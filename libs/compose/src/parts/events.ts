import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { createEventsService } from '@flotilla/events'
import type { Part } from '../part.ts'

export const events: Part = {
  name: 'events',
  serves: [EventsDefinition],
  async build({ bus, config, logger, metadata, own, serve }) {
    const service = own(
      await createEventsService({
        metadata,
        nats: bus.nats,
        nodeName: config.nodeName,
        retention: { age: config.events.retentionHours * 3_600_000, count: config.events.retentionCount },
        logger,
      }),
    )
    serve(EventsDefinition, service)
  },
}
