import Glibc

/// A point on the earth, in degrees.
package struct GeoPosition: Sendable, Equatable {
    /// North is positive.
    package let latitude: Double
    /// East is positive.
    package let longitude: Double

    package init(latitude: Double, longitude: Double) {
        self.latitude = latitude
        self.longitude = longitude
    }

    /// The kilometres to another point as the crow flies, on a sphere: within one percent.
    package func kilometres(to other: GeoPosition) -> Double {
        func radians(_ degrees: Double) -> Double { degrees * .pi / 180 }
        let height = sin(radians(other.latitude - self.latitude) / 2)
        let width = sin(radians(other.longitude - self.longitude) / 2)
        let square =
            height * height
            + cos(radians(self.latitude)) * cos(radians(other.latitude)) * width * width
        return 2 * 6_371 * asin(min(1, square.squareRoot()))
    }
}
