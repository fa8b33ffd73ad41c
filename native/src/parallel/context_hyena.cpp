#include "parallel/context_hyena.h"

#include "parallel/context_channels.h"
#include "parallel/context_fourier.h"
#include "parallel/context_pieces.h"
#include "striped/error.h"

namespace striped::parallel {

std::unique_ptr<ContextHyena> make_context_hyena(ContextStrategy strategy, const HyenaShape& shape,
                                                 const Sharding& sharding, Backend& backend) {
  const bool modal = shape.kind == HyenaKind::long_implicit;
  switch (strategy) {
    case ContextStrategy::all_to_all:
      return std::make_unique<AllToAll>(shape, sharding, backend);
    case ContextStrategy::point_to_point:
      if (!modal) return std::make_unique<PointToPoint>(shape, sharding, backend);
      break;
    case ContextStrategy::state:
      if (modal) return std::make_unique<StatePassing>(shape, sharding, backend);
      break;
    case ContextStrategy::fourier:
      return std::make_unique<FourierSpread>(shape, sharding, backend);
    case ContextStrategy::ring:
      break;
  }
  throw Error("context-strategy", modal
                                      ? "Hyena-LI is spread over context ranks by its states, by a Fourier "
                                        "transform or by all-to-all"
                                      : "explicit filters are spread over context ranks point to point, by a "
                                        "Fourier transform or by all-to-all");
}

}  // namespace striped::parallel
